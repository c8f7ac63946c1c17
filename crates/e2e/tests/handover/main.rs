//! What follows a change of holder, with the built programs.

mod guide;
mod hooks;
mod leaves;
mod on_site;
mod site;
