"""The training report: one page that shows what each stage of a run did. Results of stages → sections → page."""
