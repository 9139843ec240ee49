"""Root package of Hubwarden's contract. Holds nothing but versions of it."""
