internal import Bytes
internal import Kernels
internal import TensorModel

/// Codes and scales of FP4 in the other of their two layouts.
extension BlockWorker {
  /// The bytes of MXFP4 or NVFP4 in blocks of llama.cpp, or apart.
  ///
  /// Throws `malformed` for a scale that is not finite, and `unsupported` for one, or a factor, that
  /// the layout cannot hold.
  func rearranged(_ job: TensorJob, _ units: Range<Int>) throws(ModelError) -> [[UInt8]] {
    let isSplit = job.source.scaled.map { !$0.isInBlocks } ?? false
    return isSplit ? try joined(job, units) : try split(job, units)
  }

  private func joined(_ job: TensorJob, _ units: Range<Int>) throws(ModelError) -> [[UInt8]] {
    let layout: FP4Blocks = job.source.scaled?.isMXFP4 ?? false ? .mxfp4 : .nvfp4
    let (codes, scales) = (source[0], source[1])
    try checkScales(scales, layout, units)
    return try filledTarget(job) { (target) throws(ModelError) in
      target[0].change(target[0].indices) {
        layout.join(codes: codes.span, scales: scales.span, into: &$0)
      }
      if target.count > 1 { target[1] = try multipliers(source[2], job) }
    }
  }

  private func split(_ job: TensorJob, _ units: Range<Int>) throws(ModelError) -> [[UInt8]] {
    let layout: FP4Blocks =
      job.source.encoding == BlockType.mxfp4.encoding ? .mxfp4 : .nvfp4
    let blocks = source[0]
    return try filledTarget(job) { (target) throws(ModelError) in
      var (codes, scales) = (target[0], target[1])
      var codeSpan = codes.mutableSpan
      var scaleSpan = scales.mutableSpan
      layout.split(blocks.span, codes: &codeSpan, scales: &scaleSpan)
      try checkScales(scales, layout, units)
      (target[0], target[1]) = (codes, scales)
      if target.count > 2 { target[2] = try multipliers(source[1], job) }
    }
  }

  /// The factors of matrices as numbers that multiply.
  ///
  /// Throws `malformed` for one that is not finite, and `unsupported` for one whose reciprocal is not.
  private func multipliers(_ factors: [UInt8], _ job: TensorJob) throws(ModelError) -> [UInt8] {
    let field = ParameterField(part: 0, stride: 4)
    let isDivisor = job.source.scaled?.factor == .divisor
    var result: [UInt8] = []
    for number in field.read(factors, .float32) {
      let factor = isDivisor ? 1 / number : number
      guard factor.isFinite else {
        throw ModelError(
          number.isFinite ? .unsupported : .malformed,
          "the scale of the whole weight is no finite factor", expected: "a finite number",
          found: "\(isDivisor ? "1 / " : "")\(number)")
      }
      result.append(littleEndian: factor.bitPattern)
    }
    return result
  }

  /// Throws `malformed` for a scale that is not finite, for which runtimes compute other numbers, and
  /// `unsupported` for a negative one.
  private func checkScales(
    _ scales: [UInt8], _ layout: FP4Blocks, _ units: Range<Int>
  ) throws(ModelError) {
    let largest: UInt8 = layout == .mxfp4 ? 0xFE : 0x7E
    guard let index = scales.firstIndex(where: { $0 > largest }) else { return }
    let row = units.lowerBound + index / max(1, scales.count / max(1, units.count))
    if layout == .nvfp4, scales[index] & 0x7F != 0x7F {
      throw ModelError(
        .unsupported, "the scale of a block of NVFP4 is negative", expected: "0 to 448",
        found: "row \(row)", hint: "pleat convert --dtype BF16 decodes the weights")
    }
    throw Self.damaged("a scale", .nan, "row \(row)")
  }
}
