"""SVCCA and its relatives: compare what neural networks have learned."""
