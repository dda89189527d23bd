internal import Kernels
internal import TestSupport

/// Changes the header or the data of a safetensors file, and keeps the header length correct.
struct SafetensorsMutation: Mutation {
  func mutated(_ bytes: [UInt8], limit: Int, _ random: inout MutationRandom) -> [UInt8] {
    let choice = random.below(8)
    guard choice > 0, bytes.count >= 8 else {
      return PlainMutation().mutated(bytes, limit: limit, &random)
    }
    let length = bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let end = 8 + Int(min(length, UInt64(bytes.count - 8)))
    var (header, data) = (Array(bytes[8..<end]), Array(bytes[end...]))
    if choice == 1 {
      data = PlainMutation().mutated(data, limit: max(0, limit - end), &random)
    } else {
      header = TextMutation().mutated(header, limit: max(0, limit - 8 - data.count), &random)
    }
    return Numbers.little(UInt64(header.count)) + header + data
  }
}

/// Changes the header of a pleat file or the bytes before it, and keeps both checksums correct.
struct PleatFileMutation: Mutation {
  func mutated(_ bytes: [UInt8], limit: Int, _ random: inout MutationRandom) -> [UInt8] {
    let choice = random.below(16)
    guard choice > 0, bytes.count >= 64 else {
      return PlainMutation().mutated(bytes, limit: limit, &random)
    }
    let offset = bytes[16..<24].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let start = max(64, Int(min(offset, UInt64(bytes.count))))
    var (body, header) = (Array(bytes[64..<start]), Array(bytes[start...]))
    if choice < 5 {
      body = PlainMutation().mutated(body, limit: max(0, limit - 64 - header.count), &random)
    } else {
      header = TextMutation().mutated(header, limit: max(0, limit - start), &random)
    }
    var preamble = Array(bytes[..<12]) + Numbers.little(CRC32C(of: header.span.bytes).value)
    preamble += Numbers.little(UInt64(64 + body.count)) + Numbers.little(UInt64(header.count))
    preamble += Numbers.little(UInt64(64 + body.count + header.count)) + bytes[40..<60]
    preamble += Numbers.little(CRC32C(of: preamble.span.bytes).value)
    return preamble + body + header
  }
}
