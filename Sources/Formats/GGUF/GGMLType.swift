internal import Kernels
internal import TensorModel

/// A tensor type of GGUF files: its number, its name and the layout of its blocks.
struct GGMLType: Sendable {
  /// The number in the file.
  let id: UInt32
  /// How the numbers are stored; all block types are foreign here, including those of groups.
  let encoding: Encoding
  /// The multi-byte numbers of a block, whose bytes are reversed in big-endian files.
  ///
  /// Nil if they are not known.
  let swaps: [Swap]?

  /// A multi-byte number in a block.
  struct Swap: Sendable {
    var offset: Int
    var width: Int
  }

  /// The type with a number; nil for removed and future types.
  static func with(id: UInt32) -> GGMLType? { all.first { $0.id == id } }

  /// The type with an encoding; nil if there is none.
  static func holding(_ encoding: Encoding) -> GGMLType? { byEncoding[encoding] }

  private static let byEncoding = Dictionary(
    all.map { ($0.encoding, $0) }, uniquingKeysWith: { first, _ in first })

  /// The type with llama.cpp's name, such as `Q4_1`, in any case; nil if there is none.
  static func named(_ name: String) -> GGMLType? {
    all.first { $0.encoding.description.uppercased() == name.uppercased() }
  }

  /// The name, such as `Q4_K`.
  var name: String { encoding.description }

  /// The block type, if its blocks can be decoded; otherwise nil.
  var blockType: BlockType? { BlockType(rawValue: id) }

  /// The number of elements in a block.
  var elementCount: Int {
    if case .foreign(let layout) = encoding { layout.elementCount } else { 1 }
  }

  /// The length of a block in bytes.
  var byteCount: Int {
    switch encoding {
    case .foreign(let layout): layout.byteCount
    case .plain(let type): type.bitWidth / 8
    case .grouped, .scaled: 0
    }
  }

  /// Every GGML type that Pleat knows; `formats/gguf.md` lists them.
  static let all: [GGMLType] =
    [
      plain(0, .f32), plain(1, .f16), plain(24, .i8), plain(25, .i16), plain(26, .i32),
      plain(27, .i64), plain(28, .f64), plain(30, .bf16),
    ] + [
      block(2, "Q4_0", 32, 18, halves: [0]),
      block(3, "Q4_1", 32, 20, halves: [0, 2]),
      block(6, "Q5_0", 32, 22, halves: [0]),
      block(7, "Q5_1", 32, 24, halves: [0, 2]),
      block(8, "Q8_0", 32, 34, halves: [0]),
      block(9, "Q8_1", 32, 36, halves: [0, 2]),
      block(10, "Q2_K", 256, 84, halves: [80, 82]),
      block(11, "Q3_K", 256, 110, halves: [108]),
      block(12, "Q4_K", 256, 144, halves: [0, 2]),
      block(13, "Q5_K", 256, 176, halves: [0, 2]),
      block(14, "Q6_K", 256, 210, halves: [208]),
      block(15, "Q8_K", 256, 292, halves: nil),
      // llama.cpp writes its codes as words of 4 bytes, but reads some of them as single bytes.
      block(16, "IQ2_XXS", 256, 66, halves: nil),
      block(17, "IQ2_XS", 256, 74, halves: Array(stride(from: 0, to: 66, by: 2))),
      block(
        18, "IQ3_XXS", 256, 98, halves: [0], words: Array(stride(from: 66, to: 98, by: 4))),
      block(19, "IQ1_S", 256, 50, halves: [0] + Array(stride(from: 34, to: 50, by: 2))),
      block(20, "IQ4_NL", 32, 18, halves: [0]),
      block(21, "IQ3_S", 256, 110, halves: [0]),
      block(22, "IQ2_S", 256, 82, halves: [0]),
      block(23, "IQ4_XS", 256, 136, halves: [0, 2]),
      block(29, "IQ1_M", 256, 56, halves: [48, 50, 52, 54]),
      block(34, "TQ1_0", 256, 54, halves: [52]),
      block(35, "TQ2_0", 256, 66, halves: [64]),
      block(39, "MXFP4", 32, 17, halves: []),
      block(40, "NVFP4", 64, 36, halves: []),
      block(41, "Q1_0", 128, 18, halves: [0]),
      block(42, "Q2_0", 64, 18, halves: [0]),
    ]

  private static func plain(_ id: UInt32, _ type: ScalarType) -> GGMLType {
    let width = type.bitWidth / 8
    return GGMLType(
      id: id, encoding: .plain(type), swaps: width > 1 ? [Swap(offset: 0, width: width)] : [])
  }

  private static func block(
    _ id: UInt32, _ name: String, _ elements: Int, _ bytes: Int, halves: [Int]?,
    words: [Int] = []
  ) -> GGMLType {
    let layout = BlockLayout(name: name, elementCount: elements, byteCount: bytes)
    let wide = words.map { Swap(offset: $0, width: 4) }
    return GGMLType(
      id: id, encoding: .foreign(layout),
      swaps: halves.map { $0.map { Swap(offset: $0, width: 2) } + wide })
  }

  /// Converts whole blocks from big-endian to little-endian, in place.
  ///
  /// Throws `unsupported` if the numbers of a block are not known.
  func swapBytes(_ bytes: inout MutableRawSpan) throws(ModelError) {
    guard let swaps else {
      throw ModelError(.unsupported, "\(name) cannot be read from a big-endian file")
    }
    let block = byteCount
    guard !swaps.isEmpty else { return }
    // Only whole blocks are visited, and each swapped number lies within its block.
    unsafe bytes.withUnsafeMutableBytes { buffer in
      for start in stride(from: 0, to: buffer.count - block + 1, by: block) {
        for swap in swaps {
          let first = start + swap.offset
          unsafe buffer[first..<first + swap.width].reverse()
        }
      }
    }
  }
}
