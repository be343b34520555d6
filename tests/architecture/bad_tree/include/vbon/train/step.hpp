// Includes loop.hpp, which includes this one.
#pragma once
#include "vbon/train/loop.hpp"
