"""What every section of a config needs: models, types of fields, reading. What a key means stands beside what it describes."""
