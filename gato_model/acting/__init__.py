"""An observation to an action, a prompt to text."""
