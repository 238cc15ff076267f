"""SavedModels: how they are written, asked here and on a server; and the converter of the authors' checkpoint."""
