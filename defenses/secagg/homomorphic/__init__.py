"""Sums under encryption: the server adds what it cannot read, and a key holder apart from it decrypts the sum."""
