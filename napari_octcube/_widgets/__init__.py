"""One widget per file. Each observes the session; none knows another, save the ones it is made of."""
