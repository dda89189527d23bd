import Kernels
import Quantization
import TensorModel
import TestSupport
import Testing

/// Encoders for codes that are numbers themselves, with scales.
@Suite struct ScaledEncoderTests {
  private static let columnCount = 96
  static let types = Grouping.supportedParameters

  private func encode(
    _ values: [Float], _ encoder: ScaledEncoder
  ) throws -> (codes: [UInt8], scales: [UInt8]) {
    let mode = encoder.mode
    var codes = [UInt8](repeating: 0xaa, count: values.count * mode.bits / 8)
    var scales = [UInt8](repeating: 0xaa, count: values.count / mode.groupSize)
    var codeSpan = codes.mutableSpan
    var codeBytes = codeSpan.mutableBytes
    var scaleSpan = scales.mutableSpan
    var scaleBytes = scaleSpan.mutableBytes
    try encoder.encode(values, codes: &codeBytes, scales: &scaleBytes)
    return (codes, scales)
  }

  /// The scale of each group, and the number of each code.
  private func numbers(
    _ found: (codes: [UInt8], scales: [UInt8]), _ mode: ScaledMode
  ) throws -> (scales: [Float], values: [Float]) {
    let table = try #require(CodeTable(mode.codes.codes)).values
    let scaleTable = try #require(CodeTable(mode.codes.scales)).values
    let scales = found.scales.map { scaleTable[Int($0)] }
    let codes = mode.bits == 8 ? found.codes : found.codes.flatMap { [$0 & 0xf, $0 >> 4] }
    return (
      scales, codes.indices.map { table[Int(codes[$0])] * scales[$0 / mode.groupSize] }
    )
  }

  @Test("the modes have the codes, scales and groups of MLX")
  func modes() {
    #expect(ScaledMode.allCases.map(\.name) == ["mxfp4", "nvfp4", "mxfp8"])
    #expect(ScaledMode.allCases.map(\.bits) == [4, 4, 8])
    #expect(ScaledMode.allCases.map(\.groupSize) == [32, 16, 32])
    for mode in ScaledMode.allCases {
      var codes = mode.codes
      codes.decoded = .f16
      #expect(ScaledMode(codes) == mode)
      for change: (inout ScaledCodes) -> Void in [
        { $0.tileRows = nil }, { $0.tileColumns = 64 }, { $0.factor = .divisor },
        { $0.codes = .f8e5m2 }, { $0.scales = .f32 },
      ] {
        var other = mode.codes
        change(&other)
        #expect(ScaledMode(other) == nil)
      }
    }
  }

  @Test(
    "each number is one of the nearest, unless it is cut off (seed 710)",
    arguments: ScaledMode.allCases, types)
  func nearest(mode: ScaledMode, type: ScalarType) throws {
    var random = Seeded(710)
    let encoder = ScaledEncoder(mode, ofWeightsIn: type)
    #expect(encoder.encoding.decoded == type && ScaledMode(encoder.encoding) == mode)
    let table = try #require(CodeTable(mode.codes.codes)).values.filter { $0.isFinite }
    for scale: Float in [1, 0.02, 1e-3, 100] {
      let values = Numbers.rounded(
        random.weights(6 * Self.columnCount, scale: scale), to: type)
      let found = try numbers(try encode(values, encoder), mode)
      for index in values.indices {
        let step = found.scales[index / mode.groupSize]
        let error = (values[index] - found.values[index]).magnitude
        let least = table.map { (values[index] - $0 * step).magnitude }.min()
        #expect(error == least, "\(values[index]) becomes \(found.values[index])")
      }
    }
  }

  @Test("rows do not influence each other (seed 711)", arguments: ScaledMode.allCases)
  func rows(mode: ScaledMode) throws {
    var random = Seeded(711)
    let encoder = ScaledEncoder(mode, ofWeightsIn: .bf16)
    let values = Numbers.rounded(random.weights(11 * Self.columnCount, scale: 0.1), to: .bf16)
    let whole = try encode(values, encoder)
    let (codes, scales) = (whole.codes.count / 11, whole.scales.count / 11)
    for row in 0..<11 {
      let alone = try encode(
        Array(values[row * Self.columnCount..<(row + 1) * Self.columnCount]), encoder)
      #expect(alone.codes == Array(whole.codes[row * codes..<(row + 1) * codes]))
      #expect(alone.scales == Array(whole.scales[row * scales..<(row + 1) * scales]))
    }
  }

  @Test("sums are rounded once, from float32")
  func sums() {
    let encoder = ScaledEncoder(.nvfp4, ofWeightsIn: .f16)
    #expect(encoder.forSums.arithmetic == .f32 && encoder.forSums.encoding == encoder.encoding)
  }
}
