"""Numbers that command lines name as defaults: they stand where nothing else is imported."""

LOCAL_POSITIONS = 512  # rows of the model's table of local positions (paper appendix C.3)
