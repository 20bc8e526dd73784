"""The modalities, each to ids and back: text, images, discrete and continuous values."""
