import Inference

let model = try LanguageModel.open("tiny.pleat")
let context = try LanguageContext(of: model, capacity: 256)
var logits = try context.append(model.tokenize("def main():"))  // of the last token
for _ in 0..<32 {
  let token = logits.mostProbableToken
  if model.endTokens.contains(token) { break }
  print(try model.text(of: token), terminator: "")
  logits = try context.append([token])
}
print()
