"""The episodes of HDF5 files in robomimic's layout: robosuite, LIBERO, MimicGen."""
