mod disk;
mod follow;
mod memory;

use super::*;
use crate::error::ErrorKind;
use crate::store::Found;
