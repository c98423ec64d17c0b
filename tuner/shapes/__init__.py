"""Many shapes: grids of them, what one tells about another, and the few tactics that serve them all."""
