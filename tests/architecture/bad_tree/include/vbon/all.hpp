// A table of contents may include everything.
#pragma once
#include "vbon/bon/upward.hpp"
#include "vbon/train/loop.hpp"
