"""Stores: the records of many nights in Parquet, asked with SQL, copied to PostgreSQL."""
