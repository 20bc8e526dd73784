"""Settings of all tests."""

import hypothesis

hypothesis.settings.register_profile("project", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("project")
