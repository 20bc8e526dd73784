"""A player: a page in the browser that shows a trained model and its expert act in a task of the recipes."""
