"""SavedModels: writing them, running them in this process, and configuring a server for them."""
