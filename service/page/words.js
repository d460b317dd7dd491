// Every text of the page in both languages; a missing one shows as its key.

const en = {
  skip: "Skip to the posts",
  hello: "Show what you see.",
  helloMore: "Write a post, add a picture, and find out what is on it.",
  yourName: "Your name",
  token: "Access token",
  getToken: "Get one here",
  tokenWithoutUser: "This token does not name a user.",
  tokenEnded: "Your token is no longer valid. Please log in again: what you wrote is still here.",
  login: "Log in",
  logout: "Log out",
  newPost: "New post",
  title: "Title",
  body: "Text",
  addPicture: "Add a picture",
  removePicture: "Remove the picture",
  publish: "Publish",
  publishing: "Publishing…",
  published: "Published.",
  whichPosts: "Which posts to show",
  all: "All posts",
  mine: "My posts",
  posts: "Posts",
  more: "Show older posts",
  emptyAll: "No posts yet. Write the first one!",
  emptyMine: "You have not written anything yet.",
  retry: "Try again",
  offline: "The service cannot be reached. Are you online?",
  busy: "The service is busy. Please try again in a moment.",
  nameUnknown: "The service does not know you. Please log in again: what you wrote is still here.",
  nameRefused: "This name cannot be used. Please choose another: what you wrote is still here.",
  titleRefused: "This title cannot be published. It may have up to 300 characters.",
  bodyRefused: "This text cannot be published. It may have up to 10,000 characters.",
  notFound: "This post is no longer there.",
  tooLarge: "This is too long. Please shorten it.",
  unusable: "The service cannot process this.",
  fault: "Something is wrong with the service. Please try again later.",
  sure: "Delete this post?",
  sureMore: "The post and its picture are removed for everybody. This cannot be undone.",
  keep: "Keep it",
  delete: "Delete",
  deletePost: (title) => `Delete “${title}”`,
  deleted: "Deleted.",
  drop: "Add a picture",
  dropMore: "Choose, drop or paste it here",
  progress: "Picture sent",
  sending: (percent) => `Sending, ${percent} %`,
  looking: "Analysing the picture…",
  late: "Nothing recognised so far.",
  lookAgain: "Check again",
  otherPicture: "Replace the picture",
  failed: "The picture could not be sent.",
  noPicture: "This is not a picture that can be shown.",
  labels: "In the picture",
  labelled: (labels) => `In the picture: ${labels}`,
  nothing: "Nothing was recognised.",
  refused_unsupported: "Nothing was recognised: pictures need to be JPEG or PNG.",
  refused_too_large: "Nothing was recognised: the picture is too large.",
  refused_empty: "Nothing was recognised: the file is empty.",
  refused_otherwise: "Nothing was recognised: the picture could not be read.",
  broken: "This picture cannot be shown.",
  pictureOf: (title) => `Picture of “${title}”`,
  unfold: "Read more",
  fold: "Show less",
  untitled: "Untitled",
};

const fr = {
  skip: "Aller aux publications",
  hello: "Montrez ce que vous voyez.",
  helloMore: "Écrivez une publication, ajoutez une photo et découvrez ce qu’on y voit.",
  yourName: "Votre nom",
  token: "Jeton d’accès",
  getToken: "En obtenir un ici",
  tokenWithoutUser: "Ce jeton ne désigne aucun utilisateur.",
  tokenEnded: "Votre jeton n’est plus valable. Reconnectez-vous : ce que vous avez écrit est encore là.",
  login: "Se connecter",
  logout: "Se déconnecter",
  newPost: "Nouvelle publication",
  title: "Titre",
  body: "Texte",
  addPicture: "Ajouter une photo",
  removePicture: "Retirer la photo",
  publish: "Publier",
  publishing: "Publication…",
  published: "C’est publié.",
  whichPosts: "Publications à afficher",
  all: "Toutes",
  mine: "Les miennes",
  posts: "Publications",
  more: "Afficher les plus anciennes",
  emptyAll: "Aucune publication pour l’instant. À vous de commencer !",
  emptyMine: "Vous n’avez encore rien écrit.",
  retry: "Réessayer",
  offline: "Le service est injoignable. Êtes-vous en ligne ?",
  busy: "Le service est très sollicité. Réessayez dans un instant.",
  nameUnknown: "Le service ne vous connaît pas. Reconnectez-vous : ce que vous avez écrit est encore là.",
  nameRefused: "Ce nom ne peut pas être utilisé. Choisissez-en un autre : ce que vous avez écrit est encore là.",
  titleRefused: "Ce titre ne peut pas être publié. Il peut avoir jusqu’à 300 caractères.",
  bodyRefused: "Ce texte ne peut pas être publié. Il peut avoir jusqu’à 10 000 caractères.",
  notFound: "Cette publication n’existe plus.",
  tooLarge: "C’est trop long. Raccourcissez votre texte.",
  unusable: "Le service ne peut pas traiter cette demande.",
  fault: "Le service rencontre un problème. Réessayez plus tard.",
  sure: "Supprimer cette publication ?",
  sureMore: "La publication et sa photo disparaissent pour tout le monde, sans retour possible.",
  keep: "La garder",
  delete: "Supprimer",
  deletePost: (title) => `Supprimer « ${title} »`,
  deleted: "Supprimée.",
  drop: "Ajouter une photo",
  dropMore: "Choisissez-la, déposez-la ou collez-la ici",
  progress: "Photo envoyée",
  sending: (percent) => `Envoi, ${percent} %`,
  looking: "Analyse de la photo…",
  late: "Rien n’a été reconnu pour l’instant.",
  lookAgain: "Vérifier à nouveau",
  otherPicture: "Remplacer la photo",
  failed: "La photo n’a pas pu être envoyée.",
  noPicture: "Ce fichier n’est pas une photo affichable.",
  labels: "Sur la photo",
  labelled: (labels) => `Sur la photo : ${labels}`,
  nothing: "Rien n’a été reconnu.",
  refused_unsupported: "Rien n’a été reconnu : les photos doivent être en JPEG ou PNG.",
  refused_too_large: "Rien n’a été reconnu : la photo est trop grande.",
  refused_empty: "Rien n’a été reconnu : le fichier est vide.",
  refused_otherwise: "Rien n’a été reconnu : la photo n’a pas pu être lue.",
  broken: "Cette photo ne peut pas être affichée.",
  pictureOf: (title) => `Photo de « ${title} »`,
  unfold: "Lire la suite",
  fold: "Réduire",
  untitled: "Sans titre",
};

/** The first of the browser's languages that the page supports. */
export const language =
  (navigator.languages ?? []).map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "fr" || tag === "en") ?? "en";

const words = language === "fr" ? fr : en;

/** Whether there is a text for this key. */
export function has(key) {
  return Object.hasOwn(words, key);
}

/** The text for a key, with its parameters. */
export function say(key, ...parts) {
  const word = words[key] ?? key;
  return typeof word === "function" ? word(...parts) : word;
}

/** Inserts the texts into the page: `data-t` sets the text of an element, `data-t-label` its accessible name. */
export function translate(root) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", say(element.dataset.tLabel));
}
