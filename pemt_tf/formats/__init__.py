"""Record files in the forms that other tools read: TFRecord, WebDataset, Parquet, ArrayRecord. No TensorFlow is needed.

`record_files.py` says what a form must do, `named.py` finds it by its name, and each form has a module.
"""
