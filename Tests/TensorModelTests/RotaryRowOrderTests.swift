import TensorModel
import TestSupport
import Testing

@Suite struct RotaryRowOrderTests {
  /// A line of golden/names/rotary_rows.tsv, made by fixtures/generate/gguf_names.py with numpy.
  struct Golden {
    let order: RotaryRowOrder
    let huggingFaceRows: [Int]

    init(_ line: Substring) throws {
      let cells = line.split(separator: "\t")
      try #require(cells.count == 3)
      let headCount = try #require(Int(cells[0]))
      let headSize = try #require(Int(cells[1]))
      order = try #require(RotaryRowOrder(headCount: headCount, headSize: headSize))
      huggingFaceRows = try cells[2].split(separator: ",").map { try #require(Int($0)) }
    }
  }

  private func golden() throws -> [Golden] {
    let text = String(decoding: try Fixtures.bytes("golden/names/rotary_rows.tsv"), as: UTF8.self)
    return try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(Golden.init)
  }

  @Test("rows are permuted as in llama.cpp's converter, computed with numpy")
  func reference() throws {
    let all = try golden()
    #expect(all.count == 20)
    for golden in all {
      let order = golden.order
      #expect(order.rowCount == golden.huggingFaceRows.count)
      #expect(
        (0..<order.rowCount).map { order.huggingFaceRow(ofInterleaved: $0) }
          == golden.huggingFaceRows)
    }
  }

  @Test(
    "both maps are bijections and inverse to each other",
    arguments: Every.pair(of: [1, 2, 5, 12], [2, 4, 6, 14, 64, 128]))
  func inverse(heads: Int, size: Int) throws {
    let order = try #require(RotaryRowOrder(headCount: heads, headSize: size))
    let rows = Array(0..<heads * size)
    let interleaved = rows.map { order.interleavedRow(ofHuggingFace: $0) }
    #expect(interleaved.sorted() == rows)
    #expect(interleaved.map { order.huggingFaceRow(ofInterleaved: $0) } == rows)
    let halved = rows.map { order.huggingFaceRow(ofInterleaved: $0) }
    #expect(halved.sorted() == rows)
    #expect(halved.map { order.interleavedRow(ofHuggingFace: $0) } == rows)
  }

  @Test("a row stays in its head", arguments: [2, 6, 64])
  func heads(size: Int) throws {
    let order = try #require(RotaryRowOrder(headCount: 3, headSize: size))
    for row in 0..<order.rowCount {
      #expect(order.interleavedRow(ofHuggingFace: row) / size == row / size)
      #expect(order.huggingFaceRow(ofInterleaved: row) / size == row / size)
    }
  }

  @Test(
    "invalid numbers and sizes of heads give no order",
    arguments: [
      (0, 2), (-1, 2), (2, 0), (2, -2), (1, 1), (4, 63), (.max, 2), (2, .max - 1), (.min, .min),
      (1 << 32, 1 << 32),
    ])
  func impossible(heads: Int, size: Int) {
    #expect(RotaryRowOrder(headCount: heads, headSize: size) == nil)
  }
}
