// Breaks three rules; the include of core is in order, as is Eigen.
#pragma once
#include <Eigen/Core>
#include "vbon/core/error.hpp"
#include "vbon/train/loop.hpp"
# include "vbon/all.hpp"
#include "vbon/bon/absent.hpp"
// #include "vbon/train/step.hpp"
