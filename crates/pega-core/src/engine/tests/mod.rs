mod disk;
mod memory;

use super::*;
use crate::error::ErrorKind;
use crate::store::Found;
