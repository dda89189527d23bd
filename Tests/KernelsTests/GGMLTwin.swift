import Kernels
import TestSupport

/// Encodes blocks as the source of llama.cpp does, value by value.
struct GGMLTwin {
  var type: BlockType

  func encode(_ values: [Float]) -> Result<GroupTwin.Encoded, GroupFault> {
    let twin = GroupTwin(groupSize: 32, bits: 8, parameters: .float16)
    var result = GroupTwin.Encoded()
    for (k, group) in twin.groups(values).enumerated() {
      guard group.allSatisfy(\.isFinite) else {
        return .failure(GroupFault(kind: .nonFiniteValue, group: k))
      }
      let (scale, bias, codes) = block(group)
      guard twin.rounded(scale).isFinite && twin.rounded(bias ?? 0).isFinite else {
        return .failure(GroupFault(kind: .parameterOverflow, group: k))
      }
      result.codes += codes
      result.scales.append(twin.rounded(scale).bitPattern)
      if let bias { result.biases.append(twin.rounded(bias).bitPattern) }
    }
    return .success(result)
  }

  private func block(_ group: ArraySlice<Float>) -> (Float, Float?, [UInt8]) {
    switch type.groupForm {
    case .affine(let bits):
      let top = Float((1 << bits) - 1)
      var (least, most) = (Float.greatestFiniteMagnitude, -Float.greatestFiniteMagnitude)
      for w in group {
        if w < least { least = w }
        if w > most { most = w }
      }
      let scale = (most - least) / top
      let factor = reciprocal(scale)
      return (scale, least, group.map { truncated(($0 - least) * factor + 0.5, top) })
    case .symmetric(bits: 8):
      let scale = (group.map(\.magnitude).max() ?? 0) / 127
      let factor = reciprocal(scale)
      return (scale, nil, group.map { rounded($0 * factor) })
    case .symmetric(let bits):
      let zero = Float(1 << (bits - 1))
      var farthest = Float(0)
      for w in group where w.magnitude > farthest.magnitude { farthest = w }
      let scale = farthest / -zero
      let factor = reciprocal(scale)
      return (scale, nil, group.map { truncated($0 * factor + (zero + 0.5), 2 * zero - 1) })
    case nil: return (0, nil, [])
    }
  }

  private func reciprocal(_ scale: Float) -> Float { scale != 0 ? 1 / scale : 0 }

  // NaN and infinity become 0, as they do on x86.
  private func truncated(_ value: Float, _ top: Float) -> UInt8 {
    value.isFinite ? UInt8(min(value.rounded(.towardZero), top)) : 0
  }

  private func rounded(_ value: Float) -> UInt8 {
    value.isFinite ? UInt8(value.rounded(.toNearestOrAwayFromZero) + 128) : 128
  }
}

extension BlockType {
  var hasBias: Bool { if case .affine = groupForm { true } else { false } }

  func encode(_ values: [Float], on set: InstructionSet) -> Result<GroupTwin.Encoded, GroupFault> {
    var codes = [UInt8](repeating: 0xaa, count: values.count)
    var scales = [Float](repeating: .nan, count: values.count / 32)
    var biases = hasBias ? scales : []
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    do throws(GroupFault) {
      try encode(values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan, on: set)
      return .success(.init(codes: codes, scales: scales.bits, biases: biases.bits))
    } catch {
      return .failure(error)
    }
  }
}
