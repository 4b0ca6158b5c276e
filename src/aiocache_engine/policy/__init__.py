"""Pure decisions: values in, plans out."""
