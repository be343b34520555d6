#pragma once
#include <nlohmann/json.hpp>
#include "vbon/train/step.hpp"
