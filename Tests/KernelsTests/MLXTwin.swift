import Kernels
import TestSupport

extension GroupTwin {
  func mlx(_ values: [Float]) -> Result<Encoded, GroupFault> {
    var result = Encoded()
    let top = Float((1 << bits) - 1)
    for (k, group) in groups(values).enumerated() {
      guard group.allSatisfy(\.isFinite) else {
        return .failure(GroupFault(kind: .nonFiniteValue, group: k))
      }
      var (least, most) = (Float.infinity, -Float.infinity)
      for w in group {
        if w < least { least = w }
        if w > most { most = w }
      }
      var scale = (most - least) / top
      if scale < 1e-7 { scale = 1e-7 }
      var (edge, bias) = (least, Float(0))
      if least.magnitude <= most.magnitude {
        scale.negate()
        edge = most
      }
      let count = (edge / scale).rounded(.toNearestOrEven)
      if count != 0 { (scale, bias) = (edge / count, edge) }
      guard rounded(scale).isFinite && rounded(bias).isFinite else {
        return .failure(GroupFault(kind: .parameterOverflow, group: k))
      }
      for w in group {
        let q = scale == 0 ? 0 : ((w - bias) / scale).rounded(.toNearestOrEven)
        result.codes.append(UInt8(min(max(q, 0), top)))
      }
      result.scales.append(rounded(scale).bitPattern)
      result.biases.append(rounded(bias).bitPattern)
    }
    return .success(result)
  }
}

extension GroupKernel {
  func mlx(_ values: [Float], on set: InstructionSet) -> Result<GroupTwin.Encoded, GroupFault> {
    var codes = [UInt8](repeating: 0xaa, count: values.count)
    var scales = [Float](repeating: .nan, count: values.count / groupSize)
    var biases = scales
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    do throws(GroupFault) {
      try encodeMLX(
        values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan, on: set)
      return .success(.init(codes: codes, scales: scales.bits, biases: biases.bits))
    } catch {
      return .failure(error)
    }
  }
}
