import Kernels

extension SearchGroup {
  /// The trials of groups with a bias, whose values are taken around their mean.
  private struct Scaled {
    var values: [Float] = []
    var least, range, inverse, center, sum, mean, overWeight: Float
  }

  private func scaled(least: Float, range: Float) -> Scaled {
    var scaled = Scaled(
      least: least, range: range, inverse: inverse(range), center: 0, sum: 0, mean: 0,
      overWeight: 1 / (weights.map { sum($0) } ?? Float(values.count)))
    scaled.values = values.map { ($0 - least) * scaled.inverse }
    scaled.center = sum(weighted(scaled.values)) * scaled.overWeight
    scaled.values = scaled.values.map { $0 - scaled.center }
    scaled.sum = sum(weighted(scaled.values))
    scaled.mean = scaled.sum * scaled.overWeight
    return scaled
  }

  private func fit(_ trial: Trial, _ scaled: Scaled) -> Fit {
    let codes = scaled.values.map { clamped(trial.shift.addingProduct($0, trial.slope), trial.low) }
    let parts = weighted(codes)
    let codeSum = sum(parts)
    var fit = Fit(mean: codeSum * scaled.overWeight, trial: trial)
    let products = sum(of: parts, times: scaled.values) - fit.mean * scaled.sum
    let squares = sum(of: parts, times: codes) - fit.mean * codeSum
    if squares > 0 { (fit.scale, fit.gain) = (products / squares, products * (products / squares)) }
    return fit
  }

  private func following(_ scale: Float, _ fit: Fit, _ scaled: Scaled) -> Trial {
    var trial = fit.trial
    trial.slope = 1 / scale
    trial.shift = fit.mean - scaled.mean * trial.slope
    return trial
  }

  private func ends(_ stage: Int, around fit: Fit) -> [(below: Float, above: Float)] {
    let step = spacing / Float(1 << stage)
    let neighbors: [(Float, Float)] = [
      (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1),
    ]
    guard stage != 1 else {
      return neighbors.map { (fit.trial.below + step * $0, fit.trial.above + step * $1) }
    }
    let distances = (0..<(stage == 0 ? 3 : 11)).map { step * Float($0) - 0.25 }
    return distances.flatMap { below in distances.map { (below, $0) } }
  }

  func improveBias(
    _ result: inout Stored, stages: ClosedRange<Int>, least: Float, most: Float
  ) {
    let scaled = scaled(least: least, range: most - least)
    var best = Fit()
    for stage in stages {
      for (below, above) in ends(stage, around: best) {
        var trial = Trial(below: below, above: above)
        trial.slope = top + below + above
        trial.shift = scaled.center * trial.slope - below
        let fit = fit(trial, scaled)
        if fit.gain > best.gain { best = fit }
      }
      var refined = best
      for _ in 0..<(stage < 2 ? 2 : 8) {
        let fit = fit(following(refined.scale, refined, scaled), scaled)
        if fit.gain > refined.gain { refined = fit }
      }
      let scale = kernel.rounded(refined.scale * scaled.range)
      refined = fit(following(scale * scaled.inverse, refined, scaled), scaled)
      let center = Double(scaled.center) + Double(scaled.mean)
      let middle = Double(least) + Double(scaled.range) * center
      let bias = kernel.rounded(Float(middle - Double(scale) * Double(refined.mean)))
      let found = stored(scale: scale, bias: bias, low: 0)
      if found.error < result.error { result = found }
    }
  }

  // MARK: - Groups without a bias

  private func fit(_ trial: Trial, _ scaled: [Float]) -> Fit {
    let codes = scaled.map { clamped($0 * trial.slope, trial.low) }
    let parts = weighted(codes)
    var fit = Fit(trial: trial)
    let products = sum(of: parts, times: scaled)
    let squares = sum(of: parts, times: codes)
    if squares > 0 { (fit.scale, fit.gain) = (products / squares, products * (products / squares)) }
    return fit
  }

  private func trials(_ stage: Int, zero: Float) -> [Trial] {
    let step = spacing / Float(1 << stage)
    // A higher stage has the distances between those of the lower one.
    let steps =
      stage == 0 ? Array(0..<5) : stage == 1 ? [1, 3, 5, 7] : Array(0..<8).map { 2 * $0 + 1 }
    return steps.map { step * Float($0) }.flatMap { distance -> [Trial] in
      if kind == .none {
        let beyond = distance - 1
        return [-(central + beyond), central - 0.5 + beyond].map {
          Trial(slope: $0, low: -central)
        }
      }
      let reach: ClosedRange<Float> = stage < 2 ? -1...1 : -2...2
      return stride(from: reach.lowerBound, through: reach.upperBound, by: 1).map {
        Trial(slope: top + (distance - 0.5), low: 0 - clamped(zero + $0, 0))
      }
    }
  }

  func improveCentered(
    _ result: inout Stored, stages: ClosedRange<Int>, least: Float, most: Float
  ) {
    let range = kind == .zeroPoint ? most - least : most > -least ? most : least
    let inverse = inverse(range)
    let scaled = values.map { $0 * inverse }
    let zero = clamped(-least * inverse * top, 0)
    var best = Fit()
    for stage in stages {
      for trial in trials(stage, zero: zero) {
        let fit = fit(trial, scaled)
        if fit.gain > best.gain { best = fit }
      }
      var refined = best
      for _ in 0..<(stage < 2 ? 2 : 8) {
        var trial = refined.trial
        trial.slope = 1 / refined.scale
        let fit = fit(trial, scaled)
        if fit.gain > refined.gain { refined = fit }
      }
      let found = stored(
        scale: kernel.rounded(refined.scale * range), bias: 0, low: refined.trial.low)
      if found.error < result.error { result = found }
    }
  }
}
