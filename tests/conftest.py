"""Settings of all tests."""

import signal

import hypothesis

collect_ignore = ["helpers"]  # imported by tests, and by the processes that these start; no tests themselves

hypothesis.settings.register_profile("project", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("project")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs in its background, and so what
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests start would be deaf to Ctrl-C, too
