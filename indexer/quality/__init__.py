"""What is wrong with a catalogue, told from its stored vectors."""
