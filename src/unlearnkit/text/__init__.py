"""The one place that tokenises: question and answer to token ids and scored tokens, pairing, collation."""
