"""Which runs, surfaces and files follow from a config: all that it may say (`settings`), every path (`paths`), what is planned
(`planning`), and what jobs are told (`specs`)."""
