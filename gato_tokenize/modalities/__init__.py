"""One module a modality: text, images, discrete and continuous values to ids and back."""
