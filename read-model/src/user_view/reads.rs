//! The reads of the view, through `read_model.user_view`, which stands for the active generation.
