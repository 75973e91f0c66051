"""The registration component: gate, model card, registered version."""
