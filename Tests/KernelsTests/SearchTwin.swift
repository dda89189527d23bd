import Kernels
import TensorModel
import TestSupport

/// The search for scales and offsets of one group, written value by value.
struct SearchTwin {
  var kernel: GroupTwin
  var effort: Effort
  /// The weights of a row; empty if all values count the same.
  var weights: [Float]

  /// What a group stores besides its scale.
  enum Kind { case bias, none, zeroPoint }

  typealias Encoded = GroupTwin.Encoded

  func search(_ kind: Kind, _ values: [Float]) -> Result<Encoded, GroupFault> {
    let standard: Result<Encoded, GroupFault> =
      switch kind {
      case .bias: kernel.minMax(values)
      case .none: kernel.symmetric(values)
      case .zeroPoint: kernel.zeroPoint(values)
      }
    guard case .success(var result) = standard else { return standard }
    for (k, values) in kernel.groups(values).enumerated() {
      let group = SearchGroup(
        kind: kind, kernel: kernel, values: Array(values), weights: weights(ofGroup: k))
      var best = group.stored(
        scale: Float(bitPattern: result.scales[k]),
        bias: kind == .bias ? Float(bitPattern: result.biases[k]) : 0,
        low: kind == .none
          ? -group.central : kind == .zeroPoint ? 0 - Float(bitPattern: result.zeros[k]) : 0)
      group.improve(&best, stages: 0...(effort == .fast ? 0 : effort == .default ? 1 : 2))
      result.codes.replaceSubrange(
        k * kernel.groupSize..<(k + 1) * kernel.groupSize,
        with: values.map { UInt8(group.code(of: $0, best) - best.low) })
      result.scales[k] = best.scale.bitPattern
      if kind == .bias { result.biases[k] = best.bias.bitPattern }
      if kind == .zeroPoint { result.zeros[k] = (0 - best.low).bitPattern }
    }
    return .success(result)
  }

  /// The weights of a group relative to their mean; nil if all values count the same.
  func weights(ofGroup k: Int) -> [Float]? {
    guard !weights.isEmpty else { return nil }
    let start = k % (weights.count / kernel.groupSize) * kernel.groupSize
    let group = weights[start..<start + kernel.groupSize]
    let sum = group.reduce(0.0) { $0 + Double($1) }
    let factor = Double(kernel.groupSize) / sum
    return group.map { sum > 0 ? max(Float(Double($0) * factor), 1e-6) : 1 }
  }
}

/// A group, and the arithmetic of its trials.
struct SearchGroup {
  var kind: SearchTwin.Kind
  var kernel: GroupTwin
  var values: [Float]
  var weights: [Float]?
  var top: Float
  var central: Float
  var spacing: Float

  struct Stored {
    var scale, bias, low: Float
    var error: Double
  }

  struct Trial {
    var slope: Float = 0
    var shift: Float = 0
    var low: Float = 0
    var below: Float = 0
    var above: Float = 0
  }

  struct Fit {
    var gain: Float = 0
    var scale: Float = 0
    var mean: Float = 0
    var trial = Trial()
  }

  init(kind: SearchTwin.Kind, kernel: GroupTwin, values: [Float], weights: [Float]?) {
    (self.kind, self.kernel, self.values, self.weights) = (kind, kernel, values, weights)
    top = Float((1 << kernel.bits) - 1)
    central = Float(1 << (kernel.bits - 1))
    let bits = kind == .bias ? kernel.bits : kernel.bits - 1
    spacing =
      switch kernel.groupSize {
      case 1024...: 2
      case 256...: bits <= 5 ? 1 : 0.5
      case 128...: bits <= 3 ? 1 : 0.5
      default: 0.5
      }
  }

  func sum<Number: BinaryFloatingPoint>(_ terms: [Number]) -> Number {
    sum(over: terms.indices) { $0 + terms[$1] }
  }

  /// The sum of products, each added to it without being rounded before.
  func sum(of left: [Float], times right: [Float]) -> Float {
    sum(over: left.indices) { $0.addingProduct(left[$1], right[$1]) }
  }

  // Long groups are added in eight lanes.
  private func sum<Number: BinaryFloatingPoint>(
    over indices: Range<Int>, adding: (Number, Int) -> Number
  ) -> Number {
    guard kernel.groupSize >= 512 else { return indices.reduce(0, adding) }
    var lanes = [Number](repeating: 0, count: 8)
    for index in indices { lanes[index % 8] = adding(lanes[index % 8], index) }
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6]))
      + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
  }

  func weighted(_ terms: [Float]) -> [Float] {
    guard let weights else { return terms }
    return zip(terms, weights).map { $0 * $1 }
  }

  func clamped(_ code: Float, _ low: Float) -> Float {
    var code = code > low ? code : low
    code = code < low + top ? code : low + top
    return code.rounded(.toNearestOrEven)
  }

  func code(of value: Float, _ stored: Stored) -> Float {
    clamped((value - stored.bias) / kernel.divisor(stored.scale), stored.low)
  }

  func stored(scale: Float, bias: Float, low: Float) -> Stored {
    var stored = Stored(scale: scale, bias: bias, low: low, error: 0)
    let errors = values.map { value in
      let decoded = Double(scale) * Double(code(of: value, stored)) + Double(bias)
      return (Double(value) - decoded) * (Double(value) - decoded)
    }
    stored.error = sum(
      weights.map { weights in zip(errors, weights).map { $0 * Double($1) } } ?? errors)
    return stored
  }

  func inverse(_ range: Float) -> Float {
    range.magnitude >= 0x1p-120 && range.magnitude <= 0x1p120 ? 1 / range : 0
  }

  func improve(_ best: inout Stored, stages: ClosedRange<Int>) {
    let least = values.reduce(values[0]) { $1 < $0 ? $1 : $0 }
    let most = values.reduce(values[0]) { $1 > $0 ? $1 : $0 }
    if kind == .bias {
      improveBias(&best, stages: stages, least: least, most: most)
    } else {
      improveCentered(&best, stages: stages, least: min(least, 0), most: max(most, 0))
    }
  }
}
