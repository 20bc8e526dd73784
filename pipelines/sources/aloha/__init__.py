"""The episodes of ALOHA and ACT, an HDF5 file each."""
