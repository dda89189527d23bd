import Kernels
import TestSupport

/// The arithmetic of groups, written value by value as the documentation describes it.
struct GroupTwin {
  var groupSize: Int
  var bits: Int
  var parameters: FloatFormat

  struct Encoded: Equatable {
    var codes: [UInt8] = []
    var scales: [UInt32] = []  // As bits.
    var biases: [UInt32] = []  // As bits.
    var zeros: [UInt32] = []  // As bits.
  }

  func rounded(_ value: Float) -> Float {
    switch parameters {
    case .float16: Float(bitPattern: HalfTwin.float(ofHalf: HalfTwin.half(of: value)))
    case .bfloat16: Float(bitPattern: UInt32(HalfTwin.bfloat(of: value)) << 16)
    case .float32, .float64: value
    }
  }

  func divisor(_ scale: Float) -> Float { scale != 0 ? scale : .infinity }

  func groups(_ values: [Float]) -> [ArraySlice<Float>] {
    stride(from: 0, to: values.count, by: groupSize).map { values[$0..<($0 + groupSize)] }
  }

  func minMax(_ values: [Float]) -> Result<Encoded, GroupFault> {
    var result = Encoded()
    let top = Float((1 << bits) - 1)
    for (k, group) in groups(values).enumerated() {
      guard group.allSatisfy(\.isFinite) else {
        return .failure(GroupFault(kind: .nonFiniteValue, group: k))
      }
      var (least, most) = (group[group.startIndex], group[group.startIndex])
      for w in group {
        if w.isTotallyOrdered(belowOrEqualTo: least) { least = w }
        if most.isTotallyOrdered(belowOrEqualTo: w) { most = w }
      }
      let scale = rounded((most - least) / top)
      let bias = rounded(least)
      guard scale.isFinite && bias.isFinite else {
        return .failure(GroupFault(kind: .parameterOverflow, group: k))
      }
      let divisor = divisor(scale)
      for w in group {
        let q = ((w - bias) / divisor).rounded(.toNearestOrEven)
        result.codes.append(UInt8(min(max(q, 0), top)))
      }
      result.scales.append(scale.bitPattern)
      result.biases.append(bias.bitPattern)
    }
    return .success(result)
  }

  func symmetric(_ values: [Float]) -> Result<Encoded, GroupFault> {
    var result = Encoded()
    let top = Float((1 << bits) - 1)
    let zero = Float(1 << (bits - 1))
    for (k, group) in groups(values).enumerated() {
      guard group.allSatisfy(\.isFinite) else {
        return .failure(GroupFault(kind: .nonFiniteValue, group: k))
      }
      var farthest = group[group.startIndex]
      for w in group where w.magnitude > farthest.magnitude { farthest = w }
      let scale = rounded(farthest / -zero)
      guard scale.isFinite else {
        return .failure(GroupFault(kind: .parameterOverflow, group: k))
      }
      let divisor = divisor(scale)
      for w in group {
        let q = (w / divisor).rounded(.toNearestOrEven) + zero
        result.codes.append(UInt8(min(max(q, 0), top)))
      }
      result.scales.append(scale.bitPattern)
    }
    return .success(result)
  }

  func zeroPoint(_ values: [Float]) -> Result<Encoded, GroupFault> {
    var result = Encoded()
    let top = Float((1 << bits) - 1)
    for (k, group) in groups(values).enumerated() {
      guard group.allSatisfy(\.isFinite) else {
        return .failure(GroupFault(kind: .nonFiniteValue, group: k))
      }
      var (lo, hi) = (Float(0), Float(0))
      for w in group {
        if w < lo { lo = w }
        if w > hi { hi = w }
      }
      if lo == 0 && hi == 0 { (lo, hi) = (-1, 1) }
      let scale = rounded((hi - lo) / top)
      guard scale.isFinite else {
        return .failure(GroupFault(kind: .parameterOverflow, group: k))
      }
      let divisor = divisor(scale)
      var zero = Float(0)
      if scale != 0 && lo < 0 {
        zero = min((-lo / scale).rounded(.toNearestOrEven), top)
      }
      for w in group {
        let q = (w / divisor).rounded(.toNearestOrEven) + zero
        result.codes.append(UInt8(min(max(q, 0), top)))
      }
      result.scales.append(scale.bitPattern)
      result.zeros.append(zero.bitPattern)
    }
    return .success(result)
  }
}

extension GroupKernel {
  func minMax(_ values: [Float], on set: InstructionSet) -> Result<GroupTwin.Encoded, GroupFault> {
    var codes = [UInt8](repeating: 0xaa, count: values.count)
    var scales = [Float](repeating: .nan, count: values.count / groupSize)
    var biases = scales
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    do throws(GroupFault) {
      try encodeMinMax(
        values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan, on: set)
      return .success(.init(codes: codes, scales: scales.bits, biases: biases.bits))
    } catch {
      return .failure(error)
    }
  }

  func symmetric(
    _ values: [Float], on set: InstructionSet
  ) -> Result<GroupTwin.Encoded, GroupFault> {
    var codes = [UInt8](repeating: 0xaa, count: values.count)
    var scales = [Float](repeating: .nan, count: values.count / groupSize)
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    do throws(GroupFault) {
      try encodeSymmetric(values.span, codes: &codeSpan, scales: &scaleSpan, on: set)
      return .success(.init(codes: codes, scales: scales.bits))
    } catch {
      return .failure(error)
    }
  }

  func zeroPoint(
    _ values: [Float], on set: InstructionSet
  ) -> Result<GroupTwin.Encoded, GroupFault> {
    var codes = [UInt8](repeating: 0xaa, count: values.count)
    var scales = [Float](repeating: .nan, count: values.count / groupSize)
    var zeros = scales
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var zeroSpan = zeros.mutableSpan
    do throws(GroupFault) {
      try encodeZeroPoint(
        values.span, codes: &codeSpan, scales: &scaleSpan, zeros: &zeroSpan, on: set)
      return .success(.init(codes: codes, scales: scales.bits, zeros: zeros.bits))
    } catch {
      return .failure(error)
    }
  }

  /// Decodes with biases or zero points if there are any, else with the symmetric zero.
  func decode(_ encoded: GroupTwin.Encoded, on set: InstructionSet) -> [Float] {
    var values = [Float](repeating: .nan, count: encoded.codes.count)
    let scales = encoded.scales.map(Float.init(bitPattern:))
    let biases = encoded.biases.map(Float.init(bitPattern:))
    let zeros = encoded.zeros.map(Float.init(bitPattern:))
    var span = values.mutableSpan
    if !biases.isEmpty {
      decode(encoded.codes.span, scales: scales.span, biases: biases.span, into: &span, on: set)
    } else if !zeros.isEmpty {
      decode(encoded.codes.span, scales: scales.span, zeros: zeros.span, into: &span, on: set)
    } else {
      decode(encoded.codes.span, scales: scales.span, zero: symmetricZero, into: &span, on: set)
    }
    return values
  }
}
