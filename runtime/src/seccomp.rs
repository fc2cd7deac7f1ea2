//! In progress.
#[derive(Debug)]
pub(crate) struct Filter;
impl Filter {
    pub(crate) fn docker_default() -> Self {
        Self
    }
}
