"""Recordings of topics that have clocks of their own: MCAP files and ROS bags."""
