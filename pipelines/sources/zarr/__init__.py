"""The episodes of replay buffers in Zarr, as diffusion policy and UMI write them."""
