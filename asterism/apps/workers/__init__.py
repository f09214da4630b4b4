"""Workers: requests stand in a queue in Postgres, and any number of processes run them."""
