#include "vbon/reward/linear_head.hpp"

#include <Eigen/LU>
#include <numeric>

#include "support/catch.hpp"
#include "vbon/core/random.hpp"
#include "vbon/reward/agreement.hpp"
#include "vbon/reward/head_training.hpp"

using namespace vbon;
using namespace vbon::reward;

namespace {
struct Data {
  Tensor<float> features;
  std::vector<double> score;
};
/// Features far from the origin and of unequal size; scores linear in them with noise.
Data make_data(Index n, Index d, std::uint64_t seed) {
  Data data{Tensor<float>(n, d), std::vector<double>(static_cast<std::size_t>(n))};
  const RngKey key{seed, 0};
  for (Index i = 0; i < n; ++i) {
    double score = 0.5 * key.fold(2).normal(static_cast<std::uint64_t>(i)) - 0.3;
    for (Index j = 0; j < d; ++j) {
      const double x = key.fold(1).normal(static_cast<std::uint64_t>(i * d + j));
      data.features(i, j) = static_cast<float>(3 + x / (1 + static_cast<double>(j)));
      score += (j % 2 == 0 ? 1 : -1) * x / 2;
    }
    data.score[static_cast<std::size_t>(i)] = score;
  }
  return data;
}
std::vector<double> ones(std::size_t n) { return std::vector<double>(n, 1); }

/// |gradient| of loss + penalty at the answer, with respect to w and b.
template <class Loss>
double gradient_at(const Data& data, const Loss& loss, const LinearHead& head, double l2) {
  const Array score = head(data.features.view());
  Array dscore(score.size());
  loss(score, dscore);
  const Eigen::MatrixXd x = data.features.view().matrix().cast<double>();
  const Eigen::VectorXd w = Eigen::Map<const Eigen::VectorXd>(head.weight.data(), static_cast<Index>(head.weight.size()));
  const Eigen::VectorXd dw = x.transpose() * dscore.matrix() + l2 * w;
  return std::max(dw.cwiseAbs().maxCoeff(), std::abs(dscore.sum()));
}
}  // namespace

TEST_CASE("least squares with a penalty meets its closed form", "[reward][head]") {
  const auto data = make_data(200, 7, GENERATE(1U, 2U));
  const double l2 = GENERATE(1e-4, 1e-2, 1.0);
  const auto fit = HeadFitter(data.features.view()).fit(SquaredLoss{data.score, ones(200)}, l2);
  CHECK(fit.minimum.converged);

  Eigen::MatrixXd x(200, 8);
  x << data.features.view().matrix().cast<double>(), Eigen::VectorXd::Ones(200);
  Eigen::MatrixXd normal = x.transpose() * x / 200;
  normal.diagonal().head(7).array() += l2;  // the bias is free
  const Eigen::VectorXd answer =
      normal.fullPivLu().solve(x.transpose() * Eigen::Map<const Eigen::VectorXd>(data.score.data(), 200) / 200);
  for (Index j = 0; j < 7; ++j) CHECK(fit.head.weight[static_cast<std::size_t>(j)] == Approx(answer[j]).margin(1e-5));
  CHECK(fit.head.bias == Approx(answer[7]).margin(5e-5));
}

TEST_CASE("every fit ends where its gradient is zero", "[reward][head]") {
  const auto data = make_data(300, 5, 3);
  const double l2 = 1e-3;
  const HeadFitter fitter(data.features.view());
  SECTION("logistic") {
    std::vector<double> target;
    for (const double s : data.score) target.push_back(s > 0 ? 1 : 0);
    const LogisticLoss loss{target, ones(300)};
    const auto fit = fitter.fit(loss, l2);
    CHECK(fit.minimum.converged);
    CHECK(fit.minimum.iterations < 40);
    CHECK(gradient_at(data, loss, fit.head, l2) < 1e-5);
  }
  SECTION("preferences with margin and centring") {
    PreferenceLoss loss{std::vector<double>(150), 0.05};
    for (std::size_t i = 0; i < 150; ++i) loss.margin[i] = 0.01 * static_cast<double>(i % 10);
    const auto fit = fitter.fit(loss, l2);
    CHECK(fit.minimum.converged);
    CHECK(gradient_at(data, loss, fit.head, l2) < 1e-5);
  }
}

TEST_CASE("the gradient of every loss is that of finite differences", "[reward][head]") {
  const RngKey key{5, 0};
  const Index n = 6;
  Array score(n);
  std::vector<double> target(6), weight(6), margin(3);
  for (Index i = 0; i < n; ++i) {
    const auto u = static_cast<std::uint64_t>(i);
    score[i] = 2 * key.normal(u);
    target[u] = key.uniform(10 + u);
    weight[u] = key.uniform(20 + u);
    margin[u / 2] = key.normal(30 + u);
  }
  const auto check = [&](const auto& loss) {
    Array d(n), unused(n);
    loss(score, d);
    for (Index i = 0; i < n; ++i) {
      Array up = score, down = score;
      up[i] += 1e-5;
      down[i] -= 1e-5;
      CHECK(d[i] == Approx((loss(up, unused) - loss(down, unused)) / 2e-5).margin(1e-9).epsilon(1e-6));
    }
  };
  check(SquaredLoss{target, weight});
  check(LogisticLoss{target, weight});
  check(PreferenceLoss{margin, 0.3});
}

TEST_CASE("losses stay finite for scores of any size", "[reward][head]") {
  Array score(2), d(2);
  score << 1e5, -1e5;
  CHECK(LogisticLoss{{1, 0}, ones(2)}(score, d) == 0);
  CHECK(LogisticLoss{{0, 1}, ones(2)}(score, d) == Approx(1e5));
  CHECK(PreferenceLoss{{0}, 0}(-score, d) == Approx(2e5));
  CHECK(d.isFinite().all());
}

TEST_CASE("preferences are learnt: the chosen ones win, by the margin, around zero when centred", "[reward][head]") {
  // One feature; the chosen texts have 1, the rejected 0.
  Tensor<float> features(20, 1);
  for (Index i = 0; i < 10; ++i) features(i, 0) = 1;
  const HeadFitter fitter(features.view());
  const auto gap = [&](double margin, double centering) {
    const auto head = fitter.fit(PreferenceLoss{std::vector<double>(10, margin), centering}, 1e-3).head;
    CHECK(head(features.view()).sum() == Approx(0).margin(1e-6));
    return head.weight[0];
  };
  CHECK(gap(0, 0) > 3);
  CHECK(gap(2, 0) > gap(0, 0) + 0.9);
  CHECK(gap(0, 0.01) == Approx(gap(0, 0)).epsilon(1e-6));  // already centred
}

TEST_CASE("weights of zero leave rows out", "[reward][head]") {
  const auto data = make_data(60, 3, 8);
  std::vector<double> half(60, 0);
  std::fill(half.begin(), half.begin() + 30, 1);
  Tensor<float> first(30, 3);
  std::copy_n(data.features.data(), 90, first.data());
  const auto a = HeadFitter(data.features.view()).fit(SquaredLoss{data.score, half}, 0.1).head;
  const auto b =
      HeadFitter(first.view()).fit(SquaredLoss{{data.score.begin(), data.score.begin() + 30}, ones(30)}, 0.1).head;
  for (std::size_t j = 0; j < 3; ++j) CHECK(a.weight[j] == Approx(b.weight[j]).margin(1e-5));
}

TEST_CASE("cross-validation chooses the penalty that predicts best and reports all of them", "[reward][head]") {
  // Three of forty features matter, under noise: no penalty overfits, a huge one forgets.
  const Index n = 90, d = 40;
  const RngKey key{21, 0};
  Tensor<float> features(n, d);
  std::vector<double> score(static_cast<std::size_t>(n));
  std::vector<std::uint64_t> fold(score.size());
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < d; ++j) features(i, j) = static_cast<float>(key.normal(static_cast<std::uint64_t>(i * d + j)));
    const auto u = static_cast<std::size_t>(i);
    score[u] = static_cast<double>(features(i, 0) - features(i, 1) + features(i, 2)) + key.fold(1).normal(u);
    fold[u] = u;
  }
  const HeadFitter fitter(features.view());
  for (const auto loss : {HeadLoss::regression, HeadLoss::logistic}) {
    const auto [head, report] =
        train_linear_head(fitter, features.view(), score, fold, {.loss = loss, .l2 = {1e-6, 0.1, 1000}, .folds = 3});
    REQUIRE(report.candidates.size() == 3);
    CHECK(report.l2 == 0.1);
    CHECK(report.converged);
    CHECK(report.candidates[1].loss < report.candidates[0].loss);
    CHECK(report.candidates[1].loss < report.candidates[2].loss);
    CHECK(report.candidates[1].agreement.sign_accuracy > 0.7);
  }

  // The figure of a candidate, the long way: fit on two thirds, predict the third.
  const auto report = train_linear_head(fitter, features.view(), score, fold, {.l2 = {0.1, 0.2}, .folds = 3}).second;
  double squares = 0;
  for (Index k = 0; k < 3; ++k) {
    Tensor<float> inside(n / 3 * 2, d), outside(n / 3, d);
    std::vector<double> target, rest;
    for (Index i = 0; i < n; ++i) {
      const bool left_out = i % 3 == k;
      auto& kept = left_out ? rest : target;
      std::copy_n(features.row(i).data(), d, (left_out ? outside : inside).row(static_cast<Index>(kept.size())).data());
      kept.push_back(score[static_cast<std::size_t>(i)]);
    }
    const auto weights = ones(target.size());
    const Array predicted = HeadFitter(inside.view()).fit(SquaredLoss{target, weights}, 0.1).head(outside.view());
    for (std::size_t i = 0; i < rest.size(); ++i) squares += std::pow(predicted[static_cast<Index>(i)] - rest[i], 2);
  }
  CHECK(report.candidates[0].loss == Approx(squares / 2 / static_cast<double>(n)).epsilon(1e-4));
}

TEST_CASE("a fit refuses what has no answer", "[reward][head][error]") {
  const auto data = make_data(10, 2, 1);
  const HeadFitter fitter(data.features.view());
  CHECK_THROWS_AS(fitter.fit(SquaredLoss{data.score, ones(10)}, 0), DomainError);
  CHECK_THROWS_AS(HeadFitter(View<const float>()), ShapeError);
  Tensor<float> bad(2, 1);
  bad[0] = NAN;
  CHECK_THROWS_AS(HeadFitter(bad.view()), DomainError);
  std::vector<double> score(10, 0);
  score[3] = NAN;
  const std::vector<std::uint64_t> fold(10);
  CHECK_THROWS_WITH(train_linear_head(fitter, data.features.view(), score, fold, {}), Catch::Contains("score 3"));
  CHECK_THROWS_AS(train_linear_head(fitter, data.features.view(), std::vector<double>(9), fold, {}), ShapeError);
  CHECK_THROWS_AS(train_linear_head(fitter, data.features.view(), data.score, fold, {.l2 = {}}), ConfigError);
  CHECK_THROWS_AS(head_loss("ridge"), ConfigError);
  LinearHead head{{1, 2}, 0};
  CHECK_THROWS_AS(head(bad.view()), ShapeError);
}

TEST_CASE("agreement: signs without the neutral, ranks with ties", "[reward][agreement]") {
  const std::vector<double> wanted = {1, -1, 0, 2, -3}, predicted = {0.5, 0.5, 9, 1, -1};
  const auto a = agreement(predicted, wanted);
  CHECK(a.signed_count == 4);
  CHECK(a.sign_accuracy == 0.75);
  const std::vector<double> x = {1, 2, 2, 4}, y = {10, 100, 100, 1000};
  CHECK(agreement(x, y).spearman == Approx(1));
  CHECK(agreement(x, y).pearson < 1);
  CHECK(agreement(x, std::vector<double>{-1, -2, -2, -4}).pearson == Approx(-1));
  CHECK(agreement(x, std::vector<double>(4, 1)).pearson == 0);
  CHECK_THROWS_AS(agreement(x, wanted), ShapeError);
}

TEST_CASE("minimize reaches the bottom of a narrow valley", "[reward][head]") {
  // Convex, condition number 1e6, not quadratic.
  const auto f = [](const Vector& x, Vector& g) {
    g = {std::sinh(x[0] - 1), 1e6 * (x[1] + 2)};
    return std::cosh(x[0] - 1) + 5e5 * (x[1] + 2) * (x[1] + 2);
  };
  Vector x = {4, 4};
  const auto result = minimize(x, f, [](Vector&) {}, {.tolerance = 1e-12});
  CHECK(x[0] == Approx(1).margin(1e-4));
  CHECK(x[1] == Approx(-2).epsilon(1e-9));
  CHECK(result.value == Approx(1).epsilon(1e-9));
}

TEST_CASE("Cholesky solves symmetric systems and refuses indefinite ones", "[reward][head]") {
  const Index n = GENERATE(1, 3, 8, 21);
  const RngKey key{4, 4};
  Eigen::MatrixXd a(n, n);
  for (Index i = 0; i < n * n; ++i) a.data()[i] = key.normal(static_cast<std::uint64_t>(i));
  const Eigen::MatrixXd spd = a * a.transpose() + 0.1 * Eigen::MatrixXd::Identity(n, n);
  Eigen::VectorXd x = a.col(0);
  Cholesky(Vector(spd.data(), spd.data() + n * n), n).solve(x.data());
  CHECK((spd * x - a.col(0)).norm() < 1e-9);
  CHECK_THROWS_AS(Cholesky(Vector{1, 0, 2, 1}, 2), DomainError);
  CHECK_THROWS_AS(Cholesky(Vector(3), 2), ShapeError);
}
