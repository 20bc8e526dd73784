"""The episodes of .npz files and of folders of .npy files, as numpy writes them."""
