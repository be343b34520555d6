// Heavy headers and sloppy names.
#pragma once
#include <iostream>
#include <nlohmann/json.hpp>
#include "error.hpp"
#include <vbon/core/error.hpp>
#include <vector>
