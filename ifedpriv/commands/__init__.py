"""The command line: the roof, which may see every package and which no package sees."""
