"""The episodes of DQN's replay buffers on Atari games, as Dopamine logged them."""
