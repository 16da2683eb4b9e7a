"""Published equations as slow loops over time, in NumPy float64: they never import recur or jax."""
